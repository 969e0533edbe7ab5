-- As much of JSON as the gateway must read of a body of any size: one string member of the object that it is.
-- Long strings are skipped with plain find (memchr): a 12 MB image in base64 costs one pass over memory. Lenient where it
-- costs nothing: a body that is no JSON is the replica's to refuse, unless no name is found in it.
local byte, find, sub = string.byte, string.find, string.sub

-- Index after the opening quote -> index of the closing one; nil: there is none.
local function string_end(text, from)
  while true do
    local quote = find(text, '"', from, true)
    if not quote then return nil end
    local before = quote - 1
    while byte(text, before) == 92 do before = before - 1 end
    if (quote - 1 - before) % 2 == 0 then return quote end
    from = quote + 1
  end
end

local function utf8(code)
  local char, floor = string.char, math.floor
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
  local low = char(0x80 + floor(code / 64) % 64, 0x80 + code % 64)
  if code < 0x10000 then return char(0xE0 + floor(code / 4096)) .. low end
  return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64) .. low
end

local LETTERS = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/"}

-- What stands between the quotes -> what it means; nil: it means nothing.
local function unescaped(text)
  if not find(text, "\\", 1, true) then return text end
  local parts, i = {}, 1
  while true do
    local slash = find(text, "\\", i, true)
    if not slash then parts[#parts + 1] = sub(text, i); break end
    parts[#parts + 1] = sub(text, i, slash - 1)
    local kind = sub(text, slash + 1, slash + 1)
    if kind == "u" then
      local code = tonumber(string.match(text, "^%x%x%x%x", slash + 2) or "", 16)
      if not code then return nil end
      i = slash + 6
      if code >= 0xD800 and code < 0xDC00 then
        local low = tonumber(string.match(text, "^\\u(%x%x%x%x)", i) or "", 16)
        if not low or low < 0xDC00 or low > 0xDFFF then return nil end
        code = 0x10000 + (code - 0xD800) * 1024 + (low - 0xDC00)
        i = i + 6
      elseif code >= 0xDC00 and code < 0xE000 then
        return nil
      end
      parts[#parts + 1] = utf8(code)
    elseif LETTERS[kind] then
      parts[#parts + 1] = LETTERS[kind]
      i = slash + 2
    else
      return nil
    end
  end
  return table.concat(parts)
end

-- The string member `name` of the object that `text` is: its value; or nil and why not: "none", "twice", "no JSON".
local function string_member(text, name)
  local i, depth, size = 1, 0, #text
  local awaits_key, is_value, seen, value = false, false, 0, nil
  if not find(text, "^%s*{") then return nil, "no JSON" end
  while i <= size do
    local c = byte(text, i)
    if c == 34 then -- "
      local last = string_end(text, i + 1)
      if not last then return nil, "no JSON" end
      if depth == 1 then
        if awaits_key then
          is_value = unescaped(sub(text, i + 1, last - 1)) == name
          if is_value then seen = seen + 1 end
          awaits_key = false
        elseif is_value then
          value = unescaped(sub(text, i + 1, last - 1))
          is_value = false
        end
      end
      i = last
    elseif c == 123 then -- {
      depth = depth + 1
      awaits_key = depth == 1
    elseif c == 91 then -- [
      depth = depth + 1
    elseif c == 125 or c == 93 then -- } ]
      depth = depth - 1
    elseif c == 44 and depth == 1 then -- ,
      awaits_key, is_value = true, false
    end
    i = i + 1
  end
  if depth ~= 0 then return nil, "no JSON" end
  if seen > 1 then return nil, "twice" end
  if not value then return nil, "none" end
  return value
end
