-- The door of gateway.<domain>: a request names a model in its body, and goes to the service that declares it, if its
-- token is good for that service. Runs after sha256.lua, grants.lua, json.lua and prefix.lua in one chunk. As at the other door
-- (tokens.lua) every request arrives sealed, so a failure here lets nobody in.
local MODELS, LISTED, is_any_open = {}, {}, false -- name -> services that serve it; names in their order

local function character(hex) return string.char(tonumber(hex, 16)) end
local function text(hex) return (string.gsub(hex, "%x%x", character)) end

for name, label, service, host, prefix, open, weight, state, together, entry in string.gmatch([[
@MODELS@
]], "(%x+) (%x+) (%S+) (%S+) (%x+) (%d) (%d+) (%d) (%d+) ([^\n]+)") do
  local server = {service = service, host = host, open = open == "1", weight = tonumber(weight), rank = ({["1"] = 1, ["2"] = 2})[state] or 3}
  server.together = tonumber(together) -- so many bytes of a prompt keep requests on one replica; 0: none
  server.prefix = string.gsub(text(prefix), "/+$", "")
  name = text(name)
  local model = MODELS[name]
  if not model then
    model = {servers = {}, label = text(label), entry = entry} -- as it stands inside of JSON; in the list of models
    MODELS[name] = model
    LISTED[#LISTED + 1] = model
  end
  model.servers[#model.servers + 1] = server
  is_any_open = is_any_open or server.open
end

local ROUTED = {}
for path in string.gmatch([[
/v1/chat/completions /v1/completions /v1/embeddings /v1/responses /v1/messages /v1/rerank /v1/score /v1/pooling /v1/classify
/v1/moderations /v1/images/generations /v1/audio/speech
]], "%S+") do ROUTED[path] = true end

local function error_body(message, kind, code)
  return '{"error":{"message":"' .. message .. '","type":"' .. kind .. '","param":null,"code":"' .. code .. '"}}'
end

-- One of those that serve this model to this caller, by their weights; nil: there is none. Who has no replica that is
-- ready gets nothing while another one has; of those, who is woken by a request comes before who is only not ready.
local function choose(grant, model)
  if not model then return nil end
  local best, all = 4, 0 -- the first rank that there is; the weights of those who have it
  for _, server in ipairs(model.servers) do
    if server.weight > 0 and server.rank <= best and (server.open or is_for(grant, server.service)) then
      all = (server.rank < best and 0 or all) + server.weight
      best = server.rank
    end
  end
  local left = math.random() * all
  local found
  for _, server in ipairs(model.servers) do
    if server.rank == best and server.weight > 0 and (server.open or is_for(grant, server.service)) then
      found = server
      left = left - server.weight
      if left < 0 then break end
    end
  end
  return found
end

-- A field of each model that this caller may use, in order.
local function usable(grant, field)
  local found = {}
  for _, model in ipairs(LISTED) do
    if choose(grant, model) then found[#found + 1] = model[field] end
  end
  return found
end

local function unknown(grant, name)
  -- A name with anything unusual in it is not said again: this is text inside of JSON.
  local which = #name <= 200 and string.find(name, "^[%w ._:/@+-]+$") and "model '" .. name .. "'" or "such model"
  local there = table.concat(usable(grant, "label"), ", ")
  there = there ~= "" and "There are: " .. there .. "." or "There is none that you may call."
  return 404, error_body("There is no " .. which .. " here. " .. there, "invalid_request_error", "model_not_found")
end

local function refused(grant)
  return grant == false and 403 or 401
end

local function listing(grant, path)
  if path == "/v1/models" then
    return 200, '{"object":"list","data":[' .. table.concat(usable(grant, "entry"), ",") .. "]}"
  end
  local name = string.gsub(string.sub(path, 12), "%%(%x%x)", character)
  if choose(grant, MODELS[name]) then return 200, MODELS[name].entry end
  if not grant then return refused(grant) end
  return unknown(grant, name)
end

local function bad_request(message)
  return 400, error_body(message, "invalid_request_error", "invalid_body")
end

local WHY_NOT = {
  none = "The body has no member 'model' that is a string.",
  twice = "The body has the member 'model' more than once.",
  ["no JSON"] = "The body is no JSON object.",
}

-- nil: it may go on. Else the status of the answer, and its body where the listener's own words do not do.
local function route(handle)
  local headers = handle:headers()
  local grant = grant_of(headers)
  if not grant and not is_any_open then return refused(grant) end
  local path, query = string.match(headers:get(":path"), "^([^?]*)(.*)$")
  local method = headers:get(":method")
  if method == "GET" and (path == "/v1/models" or string.sub(path, 1, 11) == "/v1/models/") then
    return listing(grant, path)
  end
  if method ~= "POST" or not ROUTED[path] then
    return 404, error_body("Here are GET /v1/models, and POST /v1/chat/completions, /v1/completions, /v1/embeddings and the "
      .. "others of OpenAI's paths that name a model in JSON.", "not_found_error", "unknown_path")
  end
  local coding = headers:get("content-encoding")
  if coding and coding ~= "identity" then
    return 415, error_body("The body is compressed; the gateway must read the model's name in it. Send it as it is.",
      "invalid_request_error", "compressed_body")
  end
  local body = handle:body() -- waits until it is here; what was fetched from the handle before is dead after it
  if not body then return bad_request(WHY_NOT["no JSON"]) end
  local content = body:getBytes(0, body:length())
  local name, why_not = string_member(content, "model")
  if not name then return bad_request(WHY_NOT[why_not]) end
  local server = choose(grant, MODELS[name])
  if not server then
    if not grant then return refused(grant) end
    return unknown(grant, name)
  end
  headers = handle:headers()
  headers:replace(":authority", server.host)
  headers:replace(":path", server.prefix .. string.sub(path, 4) .. query)
  mark_prefix(headers, server.together > 0 and content, server.together)
  headers:remove("accept-encoding") -- what it used is read in its answer (usage.lua)
  handle:clearRouteCache()
  -- The route that this leads to says whose it is and whether a token is asked for, not this filter's table: the two
  -- arrive apart.
  local metadata = handle:metadata()
  local service = metadata:get("service")
  if service ~= server.service then return unknown(grant, name) end
  if not metadata:get("open") and not is_for(grant, service) then
    if not grant then return refused(grant) end
    return unknown(grant, name)
  end
  if grant then
    note(handle, "token", grant.id)
    -- It is ours, and no replica's to see, not even where none is asked for; where one is, the route takes it away.
    if metadata:get("open") and not metadata:get("forward_token") then headers:remove("authorization") end
  end
  note(handle, "model", name)
  headers:remove("@SEAL@")
end

function envoy_on_request(handle)
  local ran, status, body = pcall(route, handle)
  if ran and not status then return end
  if not ran then
    handle:logErr("homeport model filter: " .. tostring(status))
    handle:respond({[":status"] = "500"}, "")
  elseif body then
    note(handle, "said", true)
    handle:respond({[":status"] = tostring(status), ["content-type"] = "application/json"}, body)
  elseif status == 401 then
    handle:respond({[":status"] = "401", ["www-authenticate"] = "Bearer"}, "")
  else
    handle:respond({[":status"] = tostring(status)}, "")
  end
end
