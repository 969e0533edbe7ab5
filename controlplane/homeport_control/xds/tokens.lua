-- The door: a bearer token becomes a grant ("*", or ",hello,world,") in our own header; RBAC behind it decides by service.
-- Runs after sha256.lua in one chunk. @NAMES@ are filled in by token_filter.py. A Lua error lets a request through in
-- Envoy, without a grant: RBAC refuses it then, so this fails closed twice.
local GRANTS = {}
for hash, grant in string.gmatch([[
@GRANTS@
]], "(%x+) (%S+)") do GRANTS[hash] = grant end

-- Each request leaves a few small objects behind; collecting them at ten times the live size instead of twice costs a
-- few MiB per worker and takes 2 us off each request.
collectgarbage("setpause", 1000)

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

local function check(handle)
  local headers = handle:headers()
  local header = headers:get("authorization")
  if header == nil then return nil end
  local grant = cache[header]
  if grant == nil then grant = look_up(header) end
  if grant then headers:replace("@HEADER@", grant) end
  return grant
end

function envoy_on_request(handle)
  local ran, grant = pcall(check, handle)
  if grant and ran then return end
  if not ran then
    handle:logErr("homeport token filter: " .. tostring(grant))
    handle:respond({[":status"] = "500"}, "")
  elseif grant == nil then
    handle:respond({[":status"] = "401", ["www-authenticate"] = "Bearer"}, "")
  else
    handle:respond({[":status"] = "403"}, "")
  end
end
