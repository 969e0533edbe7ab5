-- Whose token is good for what. Runs after sha256.lua in one chunk; token_filter.py fills the table in.
local GRANTS = {} -- sha256 of a token -> "*" (every service) or ",hello,world,"
for hash, grant in string.gmatch([[
@GRANTS@
]], "(%x+) (%S+)") do GRANTS[hash] = grant end

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

-- "*" or ",hello,world,": what a good token is for; false: a wrong one; nil: none
local function grant_of(headers)
  local header = headers:get("authorization")
  if header == nil then return nil end
  local grant = cache[header]
  if grant == nil then grant = look_up(header) end
  return grant
end
