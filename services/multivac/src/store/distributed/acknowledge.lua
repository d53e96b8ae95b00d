-- Takes stored jobs out of the queue. KEYS: jobs, attempts. ARGV: group, then entry and job in turn.
-- Answers the time in milliseconds.
for i = 2, #ARGV, 2 do
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    redis.call('XDEL', KEYS[1], ARGV[i])
    redis.call('HDEL', KEYS[2], ARGV[i + 1])
end
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
