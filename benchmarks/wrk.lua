-- What wrk counted, as one line of JSON; and, with a file as argument, the requests to send in turn: one a line,
-- method, path and body between tabs.

function init(args)
  if not args[1] then return end
  local requests, next_one = {}, 0
  for line in io.lines(args[1]) do
    local method, path, body = line:match("^(%S+)\t(%S+)\t(.*)$")
    local headers = { ["Host"] = wrk.headers["Host"] }
    if body ~= "" then headers["Content-Type"] = "application/json" else body = nil end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  request = function()
    next_one = next_one % #requests + 1
    return requests[next_one]
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  local wrong = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"microseconds": %d, "requests": %d, "bytes": %d, "errors": %d, "p50": %d, "p99": %d}\n',
    summary.duration, summary.requests, summary.bytes, wrong, latency:percentile(50), latency:percentile(99)))
end
