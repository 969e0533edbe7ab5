-- Whose token is good for what. Runs after sha256.lua in one chunk; token_filter.py fills the table in.

-- Each request leaves a few small objects behind; collecting them at ten times the live size instead of twice costs a
-- few MiB per worker and takes 1 us off each request.
collectgarbage("setpause", 1000)

local GRANTS = {} -- sha256 of a token -> {services = "*" (every service) or ",hello,world,", id = the token's own}
for hash, id, services in string.gmatch([[
@GRANTS@
]], "(%x+) (%S+) (%S+)") do GRANTS[hash] = {id = id, services = services} end

-- Per worker: the whole header -> grant. Only good tokens are kept, so that guesses cannot push them out.
local cache, cached = {}, 0

local function look_up(header)
  local token = string.match(header, "^[Bb][Ee][Aa][Rr][Ee][Rr] +(%S+) *$")
  if not token then return nil end
  local grant = GRANTS[sha256(token)]
  if not grant then return false end
  if cached >= 10000 then cache, cached = {}, 0 end
  cache[header] = grant
  cached = cached + 1
  return grant
end

-- A table: what a good token is for; false: a wrong one; nil: none
local function grant_of(headers)
  local header = headers:get("authorization")
  if header == nil then return nil end
  local grant = cache[header]
  if grant == nil then grant = look_up(header) end
  return grant
end

local function is_for(grant, service)
  return grant and (grant.services == "*" or string.find(grant.services, "," .. service .. ",", 1, true) ~= nil)
end

-- For the access log: who called, by the token's id and never by the token.
local function note(handle, key, value)
  handle:streamInfo():dynamicMetadata():set("@FILTER@", key, value)
end
