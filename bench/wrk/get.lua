-- GET over 100,000 keys in an order without locality.
local i = 0
request = function()
  i = i + 1
  return wrk.format("GET", "/api/v1/kv/user:" .. (i * 7919 % 100000))
end
