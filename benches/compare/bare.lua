-- A bare client that copies: for every secret its metadata and its value, for every folder its list, over and over on all
-- connections. Arguments: the token, the folder below secret/, how many secrets there are, and what is read of each:
-- `all`, or `metadata` as a run does that finds nothing changed.

local requests, at = {}, 0

local function add(path)
  requests[#requests + 1] = wrk.format("GET", "/v1/secret/" .. path)
end

function init(args)
  local token, folder, secrets, wanted = args[1], args[2], tonumber(args[3]), args[4]
  wrk.headers["X-Vault-Token"] = token
  add("metadata/" .. folder .. "/?list=true")
  for number = 0, secrets - 1 do
    local team = string.format("%s/team-%03d/", folder, math.floor(number / 100))
    if number % 100 == 0 then
      add("metadata/" .. team .. "?list=true")
    end
    local name = team .. string.format("s%06d", number)
    add("metadata/" .. name)
    if wanted == "all" then
      add("data/" .. name)
    end
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, "failed": %d}\n', summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
