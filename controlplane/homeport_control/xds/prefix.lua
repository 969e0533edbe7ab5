-- Requests whose prompts begin alike go to one replica, whose cache then has that part: the hash of that part stands in a
-- header by which Envoy chooses, whatever a caller sends under that name. Before models.lua, tokens.lua or open.lua in one chunk.
local bit = require("bit")

local MOST = 33554432 -- bytes that the gateway keeps of a body (virtual_hosts.py); with more to come none is read

-- Where the conversation stands in the body: what comes first in it is what a replica's cache has.
local function prompt_at(body)
  return string.find(body, '"messages"', 1, true) or string.find(body, '"prompt"', 1, true)
    or string.find(body, '"input"', 1, true)
end

-- FNV-1a of so many bytes of the prompt, in hex; nil: it has none.
local function prefix_of(body, length)
  local from = prompt_at(body)
  if not from then return nil end
  local lshift, hash = bit.lshift, bit.tobit(0x811c9dc5)
  for i = from, math.min(from + length - 1, #body) do
    hash = bit.bxor(hash, string.byte(body, i))
    hash = bit.tobit(hash + lshift(hash, 1) + lshift(hash, 4) + lshift(hash, 7) + lshift(hash, 8) + lshift(hash, 24))
  end
  return bit.tohex(hash)
end

-- `body`: false when it has none to keep requests together by.
function mark_prefix(headers, body, length)
  local together = body and prefix_of(body, length)
  if together then headers:replace("@PREFIX@", together) else headers:remove("@PREFIX@") end
end

local function has_prompt(headers)
  local kind, coding = headers:get("content-type"), headers:get("content-encoding")
  local length = headers:get("content-length") -- by name: a header that is not there is no value at all, not nil
  return headers:get(":method") == "POST" and kind and string.find(kind, "^application/json")
    and (not coding or coding == "identity") and (tonumber(length) or 0) <= MOST
end

-- At a service's own address, if it wants that: JSON is waited for, anything else passes as it comes. Returns the headers: those
-- from before are dead after a body.
function keep_together(handle, headers)
  local length = handle:metadata():get("together")
  if not length then return headers end
  local body = has_prompt(headers) and handle:body()
  headers = handle:headers()
  mark_prefix(headers, body and body:getBytes(0, body:length()), length)
  return headers
end
