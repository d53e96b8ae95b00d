#!lua
-- Adds jobs. KEYS: jobs, seq, offset, and the keys of those clients that have sent one. ARGV: the longest
-- queue, how long a client's key is remembered, 1 to begin a new order, and for each job its datum, 1 if its
-- client has sent a key, and the context of its trace or nothing. Answers for each {job, 1 if it is new}, or nil if the queue is full. Answers nil,
-- and adds nothing, if Redis is empty and no new order is to begin.
if redis.call('EXISTS', KEYS[2], KEYS[3]) == 0 then
    if ARGV[3] ~= '1' then
        return false
    end
    redis.call('SET', KEYS[3], 'unknown')
end
local length, longest = redis.call('XLEN', KEYS[1]), tonumber(ARGV[1])
local added, last_key = {}, 3
for i = 4, #ARGV, 3 do
    local key, job, is_new
    if ARGV[i + 1] == '1' then
        last_key = last_key + 1
        key = KEYS[last_key]
        job, is_new = redis.call('GET', key), 0
    end
    if not job and length < longest then
        -- Nobody adds in between, so `seq` grows as the stream does, whatever the clock does.
        local seq = redis.call('INCR', KEYS[2])
        local fields = { 'seq', seq, 'data', ARGV[i] }
        if ARGV[i + 2] ~= '' then
            fields[5], fields[6] = 'traceparent', ARGV[i + 2]
        end
        job, is_new = redis.call('XADD', KEYS[1], '*', unpack(fields)), 1
        length = length + 1
        if key then
            redis.call('SET', key, job, 'EX', ARGV[2])
        end
    end
    added[#added + 1] = job and { job, is_new } or false
end
return added
