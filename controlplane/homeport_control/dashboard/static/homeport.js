// What htmx does not do by itself: dialogs, the mark that says whether a page is live, a log that stays at its end, local times,
// and the playground. Text of others is put in as text, never as markup.
(() => {
  "use strict";
  const HIDDEN_MS = 20000; // a tab that nobody sees gives its connection back: a browser has six per server
  const MOST_LINES = 1000;
  const at = (id) => document.getElementById(id);

  // ---- times in the reader's zone
  const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const long = new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const localise = (root) => {
    const times = root.matches?.("time") ? [root] : root.querySelectorAll?.("time[datetime]") ?? [];
    for (const time of times) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const isToday = moment.toDateString() === new Date().toDateString();
      const before = time.textContent.startsWith("since ") ? "since " : "";
      time.textContent = before + (isToday ? short : long).format(moment);
      time.title = time.dateTime;
    }
  };
  document.addEventListener("htmx:load", (event) => localise(event.detail.elt));
  localise(document.body);

  // ---- dialogs
  const dialog = at("dialog");
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target === dialog && !dialog.open) dialog.showModal();
    if (event.detail.target === dialog) dialog.querySelector("#close, #asked, [data-close]")?.focus();
  });
  document.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    if (dialog?.open && event.target.closest("[data-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });
  dialog?.addEventListener("close", () => dialog.replaceChildren());

  // ---- live
  const mark = at("live-mark");
  const say = (state, words) => {
    if (!mark || mark.classList.contains(state)) return;
    mark.classList.remove("on", "off");
    mark.classList.add(state);
    mark.querySelector("b").textContent = words;
  };
  document.addEventListener("htmx:sseOpen", () => say("on", "live"));
  document.addEventListener("htmx:sseError", () => say("off", "connecting again"));
  document.addEventListener("htmx:sseClose", (event) => {
    if (event.detail.type !== "message") return;
    say("off", "signed out");
    location.assign("/login");
  });
  // Hundreds of parts may come in one message. htmx looks through the whole page for each; their ids find them at once.
  const put = (piece) => {
    const [how, where] = piece.getAttribute("hx-swap-oob").split(":#");
    const old = at(where ?? piece.id);
    if (!old) return;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    localise(piece);
    if (how === "true") {
      old.replaceWith(piece);
      if (piece.querySelector("[hx-get]")) htmx.process(piece);
    } else if (how === "innerHTML") {
      old.replaceChildren(...piece.childNodes);
      htmx.process(old);
    } else if (how === "beforeend") {
      old.append(...piece.childNodes);
    } else if (how === "afterbegin") {
      old.prepend(...piece.childNodes);
      while (old.childElementCount > MOST_LINES) old.lastElementChild.remove();
    }
    if (focused) at(focused)?.focus({ preventScroll: true });
  };
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    event.preventDefault();
    const parsed = document.createElement("template");
    parsed.innerHTML = event.detail.data;
    for (const piece of [...parsed.content.children]) put(piece);
  });
  let hiding = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    const live = at("live");
    if (!live) return;
    if (document.hidden) {
      hiding = setTimeout(() => { live.remove(); hidden = live; }, HIDDEN_MS);
    }
  });
  let hidden = null;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !hidden) return;
    const copy = hidden.cloneNode(true);
    hidden = null;
    document.body.append(copy);
    htmx.process(copy);
  });

  // ---- a log stays at its end while its reader is there
  const lines = at("lines");
  if (lines) {
    let follows = true;
    lines.addEventListener("scroll", () => {
      follows = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    });
    const settle = () => {
      while (lines.childElementCount > MOST_LINES) lines.firstElementChild.remove();
      if (follows) lines.scrollTop = lines.scrollHeight;
    };
    new MutationObserver(settle).observe(lines, { childList: true });
    settle();
  }

  // ---- playground
  const chat = at("chat");
  if (chat) {
    const talk = at("talk"), form = at("chat-form"), input = at("say"), state = at("chat-state");
    const secret = document.querySelector('meta[name="homeport-form"]').content;
    let messages = [], halt = null;
    const add = (kind, text) => {
      const piece = document.createElement("p");
      piece.className = kind;
      piece.textContent = text;
      at("chat-hint")?.remove();
      talk.append(piece);
      talk.scrollTop = talk.scrollHeight;
      return piece;
    };
    const busy = (is) => {
      at("send").hidden = is;
      at("halt").hidden = !is;
      at("service").disabled = is;
    };
    const read = async (response, piece) => {
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "", answer = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return answer;
        const parts = (rest + value).split("\n");
        rest = parts.pop();
        for (const part of parts) {
          const said = JSON.parse(part);
          if (said.error) throw new Error(said.error);
          if (!said.text) continue;
          const isAtEnd = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 60;
          answer += said.text;
          piece.textContent = answer;
          if (isAtEnd) talk.scrollTop = talk.scrollHeight;
        }
      }
    };
    const ask = async () => {
      const text = input.value.trim();
      if (!text || halt) return;
      input.value = "";
      add("user-says", text);
      messages.push({ role: "user", content: text });
      const piece = add("model-says waits", "");
      const began = performance.now();
      halt = new AbortController();
      busy(true);
      state.textContent = "The model answers…";
      try {
        const response = await fetch(chat.dataset.url, {
          method: "POST", signal: halt.signal, credentials: "same-origin",
          headers: { "content-type": "application/json", accept: "application/x-ndjson", "x-homeport-form": secret },
          body: JSON.stringify({ service: at("service").value, messages }),
        });
        if (!response.ok) throw new Error((await response.text()).trim() || `the server answered ${response.status}`);
        const answer = await read(response, piece);
        messages.push({ role: "assistant", content: answer });
        if (!answer) piece.textContent = "(nothing)";
        state.textContent = `Answered in ${((performance.now() - began) / 1000).toFixed(1)} s.`;
      } catch (error) {
        if (error.name === "AbortError") {
          messages.push({ role: "assistant", content: piece.textContent });
          state.textContent = "Stopped.";
        } else {
          if (!piece.textContent) piece.remove();
          messages.pop();
          add("went-wrong", error.message);
          state.textContent = "";
        }
      } finally {
        piece.classList.remove("waits");
        halt = null;
        busy(false);
        input.focus();
      }
    };
    form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); ask(); }
    });
    at("halt").addEventListener("click", () => halt?.abort());
    at("chat-clear").addEventListener("click", () => {
      halt?.abort();
      messages = [];
      talk.replaceChildren();
      state.textContent = "";
      input.focus();
    });
  }
})();
