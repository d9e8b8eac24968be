-- The same GET on every connection, with the headers given as arguments; wrk formats it once, not once a request. Arguments
-- that begin with a slash are paths that are asked in turn instead: formatted once too, and each thread begins elsewhere.
-- One that begins with POST is the body of one.
-- The last line on stdout is what measure.py reads; latencies and the duration are in microseconds.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  local paths = {}
  for _, argument in ipairs(args) do
    local name, value = argument:match("^([^:/ ]+): (.*)$")
    local body = argument:match("^POST (.*)$")
    if body then
      wrk.method = "POST"
      wrk.body = body
    elseif name then
      wrk.headers[name] = value
    else
      paths[#paths + 1] = argument
    end
  end
  if #paths > 0 then
    in_turn(paths)
  end
end

function in_turn(paths)
  local requests = {}
  for at, path in ipairs(paths) do
    requests[at] = wrk.format("GET", path)
  end
  local at = math.floor(#requests / 2) * number
  request = function()
    at = at % #requests + 1
    return requests[at]
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, "bytes": %d, "failed": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
