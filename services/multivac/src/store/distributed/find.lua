-- Finds a job. KEYS: jobs, attempts, dead letters by job. ARGV: job. Answers {1 if it is a dead letter,
-- its attempts}, or nil.
local attempts = redis.call('HGET', KEYS[2], ARGV[1])
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then
    return { 1, tonumber(attempts or 0) }
end
if attempts or redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1] then
    return { 0, tonumber(attempts or 0) }
end
return false
