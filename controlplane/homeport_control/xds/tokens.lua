-- The door. Every request arrives sealed (listener.py), and the router refuses what is still sealed; this filter breaks
-- the seal of a request whose bearer token is good for the service. A Lua error lets a request go on in Envoy, sealed:
-- so this fails closed. Runs after sha256.lua and grants.lua in one chunk, and after usage.lua and prefix.lua where a model is served.

-- true: let in; false: a wrong token; nil: none
local function check(handle)
  local headers = handle:headers()
  local grant = grant_of(headers)
  if not grant then return grant end
  if grant.services ~= "*" then
    -- The route says which service it leads to, so no name that a client sends decides this.
    local service = handle:metadata():get("service")
    if not service or not is_for(grant, service) then return false end
  end
  note(handle, "token", grant.id)
  if expect_usage then expect_usage(handle, headers) end
  if keep_together then headers = keep_together(handle, headers) end
  headers:remove("@SEAL@")
  return true
end

function envoy_on_request(handle)
  local ran, allowed = pcall(check, handle)
  if ran and allowed then return end
  if not ran then
    handle:logErr("homeport token filter: " .. tostring(allowed))
    handle:respond({[":status"] = "500"}, "")
  elseif allowed == nil then
    handle:respond({[":status"] = "401", ["www-authenticate"] = "Bearer"}, "")
  else
    handle:respond({[":status"] = "403"}, "")
  end
end
