"""The last words on a request before an origin sees it, in Lua: identity in, credentials out.

Written for LuaJIT's interpreter: a pattern looks at a kilobyte of token character by character,
``find(…, true)`` does not. What is not looked at, the assertion, Envoy itself refuses to send if it
holds a character that no header may have.
"""

from proxy.envoy.clusters import Mode
from proxy.envoy.names import (
    ASK_PROTECTED,
    IDENTITY_HEADERS,
    JWT_FILTER,
    POLICY_NOTE,
    RBAC_FILTER,
    RESULT_NOTE,
    SESSION,
    SESSION_COOKIE,
)

LUA = f"""
local COOKIE = "{SESSION_COOKIE}"
local PASSWORD_USED = {{
  ["{Mode.BASIC}"] = true, ["{Mode.IDENTITY_AND_BASIC}"] = true, ["{ASK_PROTECTED}"] = true
}}

local function without_session(line)
  local kept, at = {{}}, 1
  while at do
    local stop = line:find(";", at, true)
    local part = line:sub(at, stop and stop - 1)
    if part:match("^%s*([^=%s]*)"):sub(1, #COOKIE) ~= COOKIE then
      local trimmed = part:gsub("^%s+", "")
      if trimmed ~= "" then kept[#kept + 1] = trimmed end
    end
    at = stop and stop + 1
  end
  return table.concat(kept, "; ")
end

local function strip_session(headers)
  local lines = headers:getNumValues("cookie")
  if lines == 0 then return end
  if lines == 1 then
    local line = headers:get("cookie")
    local start = line:find(COOKIE, 1, true)
    if not start then return end
    if start == 1 and not line:find(";", 1, true) then
      headers:remove("cookie")
      return
    end
  end
  local kept, found = {{}}, false
  for index = 0, lines - 1 do
    local line = headers:getAtIndex("cookie", index)
    if line:find(COOKIE, 1, true) then found = true; line = without_session(line) end
    if line ~= "" then kept[#kept + 1] = line end
  end
  if not found then return end
  headers:remove("cookie")
  if #kept > 0 then headers:add("cookie", table.concat(kept, "; ")) end
end

local function plain(value)
  if value:find("%c") then value = value:gsub("%c", "") end
  return value
end

local function set(headers, name, value)
  if type(value) == "string" then headers:replace(name, value) end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  strip_session(headers)
  if headers:get("upgrade") then headers:replace("connection", "Upgrade") end
  local metadata = handle:streamInfo():dynamicMetadata()
  local note = metadata:get("{RBAC_FILTER}") or {{}}
  local pass = note["{POLICY_NOTE}"]
  if PASSWORD_USED[pass] then headers:remove("authorization") end
  if note["{RESULT_NOTE}"] ~= "allowed" then return end
  if pass ~= "{Mode.IDENTITY}" and pass ~= "{Mode.IDENTITY_AND_BASIC}" then return end
  local session = metadata:get("{JWT_FILTER}")["{SESSION}"]
  local email, name = session["email"], session["name"]
  if type(email) == "string" then email = plain(email) end
  if type(name) == "string" then name = plain(name) end
  set(headers, "{IDENTITY_HEADERS[0]}", email)
  set(headers, "{IDENTITY_HEADERS[1]}", name)
  set(headers, "{IDENTITY_HEADERS[2]}", session["asrt"])
  set(headers, "{IDENTITY_HEADERS[3]}", email)
end
"""
