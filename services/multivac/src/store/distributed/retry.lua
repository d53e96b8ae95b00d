-- Queues a dead letter anew. KEYS: jobs, attempts, dead letters, dead letters by job, seq. ARGV: job.
-- Answers 1 if there was one.
local job = ARGV[1]
local dead_letter = redis.call('HGET', KEYS[4], job)
local found = dead_letter and redis.call('XRANGE', KEYS[3], dead_letter, dead_letter)[1]
if not found then
    return 0
end
local fields = {}
for i = 1, #found[2], 2 do
    fields[found[2][i]] = found[2][i + 1]
end
if not string.match(fields.seq, '^%d+$') then
    -- It was no job before, and has no place in the order yet.
    fields.seq = redis.call('INCR', KEYS[5])
end
redis.call('XADD', KEYS[1], '*', 'id', job, 'seq', fields.seq, 'data', fields.data,
    'traceparent', fields.traceparent or '')
redis.call('XDEL', KEYS[3], dead_letter)
redis.call('HDEL', KEYS[4], job)
-- Finds a job that is not at its first entry.
redis.call('HSET', KEYS[2], job, 0)
return 1
