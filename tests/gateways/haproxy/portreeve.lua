-- Asks Portreeve about a request, tells the app who it is, or answers the client.

-- Who asks: `portreeve keys create --name haproxy --role gateway`.
local key = os.getenv("PORTREEVE_KEY") or ""
-- haproxy.cfg says where that is, and how long to wait.
local engine = "abns@portreeve"

-- Of a request, every line counts.
local most_headers = 64

-- What an allow tells the app: all of them on every allow, empty where nothing is known.
local identity = {
    "x-portreeve-subject",
    "x-portreeve-subject-type",
    "x-portreeve-decision-id",
    "x-portreeve-risk-level",
    "x-portreeve-session",
    "x-portreeve-outcome",
    "x-user-id", -- as in [gateway.identity]
}

-- Of one connection, or of a body that does not come along.
local not_passed_on = {
    ["connection"] = true,
    ["content-length"] = true,
    ["expect"] = true,
    ["host"] = true,
    ["keep-alive"] = true,
    ["te"] = true,
    ["trailer"] = true,
    ["transfer-encoding"] = true,
}

-- HAProxy's lists begin at 0, Lua's at 1.
local function values(list)
    local found = {}
    for _, value in pairs(list or {}) do
        found[#found + 1] = value
    end
    return found
end

local function refuse(txn, status, headers, body)
    local reply = txn:reply({ status = status })
    for name, list in pairs(headers) do
        for _, value in ipairs(values(list)) do
            reply:add_header(name, value)
        end
    end
    reply:set_body(body or "")
    txn:done(reply)
end

core.register_action("portreeve", { "http-req" }, function(txn)
    local headers, count = {}, 0
    for name, list in pairs(txn.http:req_get_headers()) do
        if not not_passed_on[name] then
            headers[name] = values(list)
        end
        count = count + #values(list)
    end
    -- HAProxy's HTTP client does not count: beyond 101 it writes where it must not, and HAProxy ends.
    if count > most_headers then
        refuse(txn, 431, {})
        return
    end
    headers["portreeve-key"] = { key }
    headers["x-forwarded-method"] = { txn.f:method() }
    headers["x-forwarded-uri"] = { txn.f:pathq() }

    local answer = core.httpclient():get({
        url = "http://portreeve/gateway/forward-auth",
        dst = engine,
        headers = headers,
        timeout = 10000,
    })
    local status = answer and tonumber(answer.status) or 0

    -- Only an allow is 2xx, and says so.
    if status == 200 and values(answer.headers["x-portreeve-outcome"])[1] == "allow" then
        for _, name in ipairs(identity) do
            txn.http:req_set_header(name, values(answer.headers[name])[1] or "")
        end
        -- The token that was made for the app; the client's own ends here.
        txn.http:req_del_header("authorization")
        local token = values(answer.headers["authorization"])[1]
        if token and token ~= "" then
            txn.http:req_set_header("authorization", token)
        end
        local cookie = values(answer.headers["set-cookie"])[1]
        if cookie then
            txn:set_var("txn.portreeve_cookie", cookie)
        end
        txn:set_var("txn.portreeve_allowed", true)
        return
    end

    if status < 300 then
        -- No answer in time, or none that is one.
        refuse(txn, 503, { ["retry-after"] = { "1" }, ["cache-control"] = { "no-store" } })
        return
    end
    local passed = {}
    for _, name in ipairs({
        "cache-control", "content-type", "location", "retry-after", "set-cookie",
        "www-authenticate", "x-portreeve-decision-id", "x-portreeve-outcome",
    }) do
        passed[name] = answer.headers[name]
    end
    refuse(txn, status, passed, answer.body)
end)
