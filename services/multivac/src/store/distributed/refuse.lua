#!lua flags=allow-oom
-- Allowed without memory: otherwise the jobs that fill it could not be stored.
-- Counts a refusal of a job. KEYS: jobs, attempts, dead letters, dead letters by job. ARGV: group, consumer,
-- entry, job, reason, the most attempts, the first back-off, after how long an entry is taken over. Answers
-- 1 if the job has become a dead letter.
local group, consumer, entry, job = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
if not found then
    -- Another worker has acknowledged it.
    return 0
end
local attempts = redis.call('HINCRBY', KEYS[2], job, 1)
if attempts < tonumber(ARGV[6]) then
    -- As if it had been delivered some time ago: it is taken over when the back-off is over.
    local claim_after = tonumber(ARGV[8])
    local back_off = math.min(tonumber(ARGV[7]) * 2 ^ (attempts - 1), claim_after)
    local idle = string.format('%d', claim_after - back_off)
    redis.call('XCLAIM', KEYS[1], group, consumer, 0, entry, 'IDLE', idle, 'JUSTID')
    return 0
end
local fields = {}
for i = 1, #found[2], 2 do
    fields[found[2][i]] = found[2][i + 1]
end
-- An entry that no server of this service has added may have other fields.
local dead_letter = redis.call('XADD', KEYS[3], '*', 'id', job, 'seq', fields.seq or '',
    'data', fields.data or cjson.encode(fields), 'attempts', attempts, 'reason', ARGV[5],
    'traceparent', fields.traceparent or '')
redis.call('HSET', KEYS[4], job, dead_letter)
redis.call('XACK', KEYS[1], group, entry)
redis.call('XDEL', KEYS[1], entry)
return 1
