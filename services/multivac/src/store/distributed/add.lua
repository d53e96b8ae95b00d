#!lua
-- Adds jobs. KEYS: jobs, seq, offset, and the keys of those clients that have sent one. ARGV: the longest
-- queue, how long a client's key is remembered, 1 to begin a new order, and for each job its datum, 1 if its
-- client has sent a key, and the context of its trace or nothing. Answers how many are new, and for each job its id,
-- or nil where the queue is full. Answers nil, and adds nothing, if Redis is empty and no new order is to begin.
if redis.call('EXISTS', KEYS[2], KEYS[3]) == 0 then
    if ARGV[3] ~= '1' then
        return false
    end
    redis.call('SET', KEYS[3], 'unknown')
end
local room = math.min((#ARGV - 3) / 3, tonumber(ARGV[1]) - redis.call('XLEN', KEYS[1]))
local seq, new, added, last_key = 0, 0, {}, 3
if room > 0 then
    -- Nobody adds in between, so `seq` grows as the stream does, whatever the clock does. The numbers are
    -- taken at once, before the first is used: one by one this takes as long as adding the jobs.
    seq = redis.call('INCRBY', KEYS[2], room) - room
end
for i = 4, #ARGV, 3 do
    local key, job
    if ARGV[i + 1] == '1' then
        last_key = last_key + 1
        key = KEYS[last_key]
        job = redis.call('GET', key)
    end
    if not job and new < room then
        new = new + 1
        if ARGV[i + 2] == '' then
            job = redis.call('XADD', KEYS[1], '*', 'seq', seq + new, 'data', ARGV[i])
        else
            job = redis.call('XADD', KEYS[1], '*', 'seq', seq + new, 'data', ARGV[i],
                'traceparent', ARGV[i + 2])
        end
        if key then
            redis.call('SET', key, job, 'EX', ARGV[2])
        end
    end
    added[#added + 1] = job or false
end
if new < room then
    redis.call('DECRBY', KEYS[2], room - new)
end
return { new, added }
