-- Adds a job. KEYS: jobs, seq, and the client's key if there is one. ARGV: datum, the longest queue,
-- how long the client's key is remembered. Answers {job, 1 if it is new}, or nil if the queue is full.
if KEYS[3] then
    local known = redis.call('GET', KEYS[3])
    if known then
        return { known, 0 }
    end
end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) then
    return false
end
-- Nobody adds in between, so `seq` grows as the stream does, whatever the clock does.
local seq = redis.call('INCR', KEYS[2])
local job = redis.call('XADD', KEYS[1], '*', 'seq', seq, 'data', ARGV[1])
if KEYS[3] then
    redis.call('SET', KEYS[3], job, 'EX', ARGV[3])
end
return { job, 1 }
