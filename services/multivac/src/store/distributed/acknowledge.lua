-- Takes stored jobs out of the queue. KEYS: jobs, attempts. ARGV: group, then all entries, then the job of each.
-- Answers the time in milliseconds.
-- A call of each for all: a few hundred arguments, of the thousands that Lua's stack takes.
local count = (#ARGV - 1) / 2
if count > 0 then
    redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2, count + 1))
    redis.call('XDEL', KEYS[1], unpack(ARGV, 2, count + 1))
    redis.call('HDEL', KEYS[2], unpack(ARGV, count + 2))
end
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
