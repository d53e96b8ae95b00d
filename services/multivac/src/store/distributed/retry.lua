-- Queues a dead letter anew. KEYS: jobs, attempts, dead letters, dead letters by job. ARGV: job.
-- Answers 1 if there was one.
local job = ARGV[1]
local letter = redis.call('HGET', KEYS[4], job)
local found = letter and redis.call('XRANGE', KEYS[3], letter, letter)[1]
if not found then
    return 0
end
local fields = {}
for i = 1, #found[2], 2 do
    fields[found[2][i]] = found[2][i + 1]
end
redis.call('XADD', KEYS[1], '*', 'id', job, 'seq', fields.seq, 'data', fields.data)
redis.call('XDEL', KEYS[3], letter)
redis.call('HDEL', KEYS[4], job)
-- Where a job that is not at its first place is known to wait.
redis.call('HSET', KEYS[2], job, 0)
return 1
