-- The trace that a job belongs to, as the header `traceparent`; null where it is not recorded.
ALTER TABLE jobs ADD COLUMN traceparent TEXT;
ALTER TABLE dead_letters ADD COLUMN traceparent TEXT;
