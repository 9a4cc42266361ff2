-- PUT of JSON values of about 100 bytes over 100,000 keys in an order without locality.
local i = 0
local headers = { ["Content-Type"] = "application/json" }
local body = '{"value":{"name":"John","age":30,"pad":"' .. string.rep("x", 60) .. '"}}'
request = function()
  i = i + 1
  return wrk.format("PUT", "/api/v1/kv/user:" .. (i * 7919 % 100000), headers, body)
end
