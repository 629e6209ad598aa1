-- Asks Portreeve about a request, tells the app who it is, or answers the client. Whatever goes
-- wrong in here is a 500 by mod_lua: nothing is let through by accident.
local socket = require("socket")

-- Who asks: `portreeve keys create --name apache --role gateway`.
local key = os.getenv("PORTREEVE_KEY") or ""
local host = os.getenv("PORTREEVE_HOST") or "127.0.0.1"
local port = tonumber(os.getenv("PORTREEVE_PORT") or "8181")
-- In all, for one question: the engine answers within 2 s, or says that it cannot. LuaSocket waits
-- for ever unless it is told.
local timeout_seconds = 3

-- What an allow tells the app: all of them on every allow, empty where nothing is known.
local identity = {
    "X-Portreeve-Subject",
    "X-Portreeve-Subject-Type",
    "X-Portreeve-Decision-Id",
    "X-Portreeve-Risk-Level",
    "X-Portreeve-Session",
    "X-Portreeve-Outcome",
    "X-User-Id", -- as in [gateway.identity]
}

-- What says who somebody is, or where a request comes from, is never a client's to send.
local function is_reserved(name)
    -- `X_User_Id` and `X.User.Id` are `X-User-Id` to many an app.
    name = name:lower():gsub("[^%w]", "-")
    for _, start in ipairs({
        "portreeve-", "x-portreeve-", "x-user-", "x-forwarded-", "x-auth-request-", "x-remote-",
        "x-authenticated-", "x-authentik-", "x-webauth-", "x-amzn-oidc-",
        "x-goog-authenticated-user-", "x-ms-client-principal", "cf-access-", "tailscale-user-",
        "client-cert", "x-client-cert", "ssl-client-", "x-ssl-client-", "x-original-",
    }) do
        if name:sub(1, #start) == start then
            return true
        end
    end
    local others = {
        ["forwarded"] = true, ["remote-email"] = true, ["remote-groups"] = true,
        ["remote-name"] = true, ["remote-user"] = true, ["x-http-method"] = true,
        ["x-http-method-override"] = true, ["x-internal-token"] = true,
        ["x-method-override"] = true, ["x-override-url"] = true, ["x-real-ip"] = true,
        ["x-rewrite-url"] = true, ["x-service-name"] = true,
    }
    return others[name] or false
end

-- Of one connection, or of a body that does not come along.
local not_passed_on = {
    ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true,
    ["keep-alive"] = true, ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true,
}

-- A proxy takes away what `Connection` names: `Connection: X-User-Id` would end the header that is
-- set below.
local function names_a_header(connection)
    local known = { ["close"] = true, ["keep-alive"] = true, ["upgrade"] = true, ["te"] = true }
    for word in (connection or ""):lower():gmatch("[^,%s]+") do
        if not known[word] then
            return true
        end
    end
    return false
end

-- The connection of this thread, kept open.
local kept = nil

-- Reads one answer: status, headers by their names in lower case, body. Nil: there was none, or
-- not in time. LuaSocket's limits are for each read, so what is left is told anew.
local function read(connection, deadline)
    local function receive(what)
        local left = deadline - socket.gettime()
        connection:settimeout(left, "t")
        connection:settimeout(left, "b")
        return left > 0 and connection:receive(what)
    end
    local line = receive("*l")
    local status = line and tonumber(line:match("^HTTP/1%.%d (%d%d%d)"))
    if not status then
        return nil
    end
    local headers = {}
    while true do
        line = receive("*l")
        if not line then
            return nil
        elseif line == "" then
            break
        end
        local name, value = line:match("^([^:]+):%s*(.-)%s*$")
        if not name then
            return nil
        end
        headers[name:lower()] = value
    end
    local length = tonumber(headers["content-length"] or "0")
    local body = ""
    if headers["transfer-encoding"] or not length then
        return nil
    elseif length > 0 then
        body = receive(length)
    end
    return body and { status = status, headers = headers, body = body }
end

local function exchange(connection, text, deadline)
    local left = deadline - socket.gettime()
    if left <= 0 then
        return nil
    end
    connection:settimeout(left, "t")
    connection:settimeout(left, "b")
    return connection:send(text) and read(connection, deadline)
end

local function put(text)
    local deadline = socket.gettime() + timeout_seconds
    if kept then
        local answer = exchange(kept, text, deadline)
        if answer then
            return answer
        end
        -- The engine may have closed it meanwhile.
        kept:close()
        kept = nil
    end
    local connection = socket.tcp()
    connection:settimeout(1)
    if not connection:connect(host, port) then
        connection:close()
        return nil
    end
    connection:setoption("tcp-nodelay", true)
    local answer = exchange(connection, text, deadline)
    if answer and answer.headers["connection"] ~= "close" then
        kept = connection
    else
        connection:close()
    end
    return answer
end

function ask(r)
    if names_a_header(r.headers_in["Connection"]) then
        return 400
    end
    -- Of upgrades only WebSockets go on: behind another the app would be asked without the engine.
    if (r.headers_in["Upgrade"] or ""):lower() ~= "websocket" then
        r.headers_in["Upgrade"] = nil
    end
    local lines = { "GET /gateway/forward-auth HTTP/1.1", "Host: " .. host .. ":" .. port }
    local function add(name, value)
        lines[#lines + 1] = name .. ": " .. value
    end
    for name, value in pairs(r:headers_in_table()) do
        if is_reserved(name) then
            r.headers_in[name] = nil
        elseif not not_passed_on[name:lower()] then
            add(name, value)
        end
    end
    add("Portreeve-Key", key)
    add("X-Forwarded-Method", r.method)
    -- As it came, not decoded.
    add("X-Forwarded-Uri", r.unparsed_uri)
    -- The name is what Apache went by; a page's own origin has a port as well.
    local own_port = (r.headers_in["Host"] or ""):match(":%d+$") or ""
    add("X-Forwarded-Host", r.hostname .. own_port)
    add("X-Forwarded-Proto", r.is_https and "https" or "http")
    add("X-Forwarded-For", r.useragent_ip)
    -- Where clients show certificates (RFC 9440): mod_ssl with `SSLVerifyClient optional`, and the
    -- setting `certificate_from = "client-cert"`.
    local pem = r.is_https and r:ssl_var_lookup("SSL_CLIENT_CERT") or ""
    if pem ~= "" then
        add("Client-Cert", ":" .. pem:gsub("%-%-%-%-%-[^\n]*", ""):gsub("%s", "") .. ":")
    end

    local answer = put(table.concat(lines, "\r\n") .. "\r\n\r\n")

    -- Only an allow is 2xx, and says so.
    if answer and answer.status == 200 and answer.headers["x-portreeve-outcome"] == "allow" then
        for _, name in ipairs(identity) do
            r.headers_in[name] = answer.headers[name:lower()] or ""
        end
        -- The token that was made for the app; the client's own ends here.
        r.headers_in["Authorization"] = nil
        local token = answer.headers["authorization"]
        if token and token ~= "" then
            r.headers_in["Authorization"] = token
        end
        -- A new session cookie, when the one before has had its time.
        if answer.headers["set-cookie"] then
            r.headers_out["Set-Cookie"] = answer.headers["set-cookie"]
            r.subprocess_env["portreeve_cookie"] = "1"
        end
        return apache2.OK
    end

    -- No answer in time, or none that is one.
    if not answer or answer.status < 300 then
        answer = { status = 503, headers = { ["retry-after"] = "1" }, body = "" }
    end
    for _, name in ipairs({
        "Cache-Control", "Location", "Retry-After", "Set-Cookie", "WWW-Authenticate",
        "X-Portreeve-Decision-Id", "X-Portreeve-Outcome",
    }) do
        if answer.headers[name:lower()] then
            r.err_headers_out[name] = answer.headers[name:lower()]
        end
    end
    r.status = answer.status
    r.content_type = answer.headers["content-type"] or "text/plain"
    r:puts(answer.body)
    return apache2.DONE
end
