#!lua flags=allow-oom
-- Continues the order of what is stored. KEYS: jobs, seq, offset. ARGV: group, the highest place that is
-- stored, the time of the latest id that is stored. Answers the offset.
local group, stored, time = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local seq = tonumber(redis.call('GET', KEYS[2]) or 0)
local offset = redis.call('GET', KEYS[3])
if offset == 'unknown' then
    -- This Redis was empty: all of its numbers are new.
    offset = stored
else
    offset = tonumber(offset or 0)
    if seq + offset < stored then
        -- It has lost its last writes: what waits in it comes after what is stored.
        local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
        local first_seq = seq + 1
        if first then
            for i = 1, #first[2], 2 do
                if first[2][i] == 'seq' then
                    first_seq = tonumber(first[2][i + 1]) or 1
                end
            end
        end
        offset = stored + 1 - math.min(first_seq, seq + 1)
    end
end
redis.call('SET', KEYS[3], string.format('%.0f', offset))
if time == 0 then
    return offset
end
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('XGROUP', 'CREATE', KEYS[1], group, '0', 'MKSTREAM')
end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' and tonumber(string.match(info[i + 1], '^%d+')) <= time then
        -- The next id is above this one, whatever the clock says.
        redis.call('XSETID', KEYS[1], string.format('%.0f-0', time + 1))
    end
end
return offset
