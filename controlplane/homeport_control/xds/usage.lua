-- Token usage of a model's answers, read as they pass: JSON and event streams, nothing is held back or changed. What is
-- found goes into the access log. Before tokens.lua or open.lua in one chunk; needs `note` (grants.lua).
--
-- An error here costs the numbers of that answer and nothing else: Envoy lets the answer go on.
local TAIL = 1024 -- of what has passed is kept: a usage object that two pieces share is found in the second

local COUNTED = {"/completions", "/embeddings", "/responses", "/messages", "/rerank", "/score", "/pooling", "/classify"}

-- A request whose answer will say what it used: it must not be packed, and its model stands in the log.
function expect_usage(handle, headers)
  if headers:get(":method") ~= "POST" then return end
  local path = headers:get(":path")
  for _, counted in ipairs(COUNTED) do
    if string.find(path, counted, 1, true) then
      headers:remove("accept-encoding")
      local model = handle:metadata():get("model")
      if model then note(handle, "model", model) end
      return
    end
  end
end

-- The number of this member, in OpenAI's words or Anthropic's, from here on.
local function count(text, from, name, other)
  local number = tonumber(string.match(text, '"' .. name .. '"%s*:%s*(%d+)', from)
    or string.match(text, '"' .. other .. '"%s*:%s*(%d+)', from))
  return number and number < 1e12 and number or nil
end

-- Inside of a JSON string the quotes would have backslashes before them: this is a member, or a string that is just this.
local function read(handle, text)
  local at = string.find(text, '"usage"', 1, true)
  while at do
    local object = string.match(text, "^%s*:%s*{()", at + 7) -- null in all events but the last one
    if object then
      local prompt = count(text, object, "prompt_tokens", "input_tokens")
      local completion = count(text, object, "completion_tokens", "output_tokens")
      if prompt then note(handle, "prompt", prompt) end
      if completion then note(handle, "completion", completion) end
    end
    at = string.find(text, '"usage"', at + 7, true)
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local kind, coding = headers:get("content-type"), headers:get("content-encoding")
  if not kind or (coding and coding ~= "identity") then return end
  if not string.find(kind, "^text/event%-stream") and not string.find(kind, "^application/json") then return end
  -- With the last byte of a known length it is over here: to be woken once more for the end costs 2 us.
  local length, seen = headers:get("content-length"), 0
  local whole = tonumber(length)
  local before -- this piece; cut only when more comes, as most answers in JSON are one
  for chunk in handle:bodyChunks() do
    local size = chunk:length()
    if size > 0 then
      local text = chunk:getBytes(0, size)
      -- An event that is whole needs nothing of the next one.
      if before and string.sub(before, -2) ~= "\n\n" then text = string.sub(before, -TAIL) .. text end
      read(handle, text)
      seen = seen + size
      if seen == whole then return end
      before = text
    end
  end
end
