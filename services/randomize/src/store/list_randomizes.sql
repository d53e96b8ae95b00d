-- A sum, because SQLite prepares a statement anew for each value of a parameter that is the limit itself.
SELECT id, original, jumbled, created, updated FROM randomizes
WHERE id < $1 ORDER BY id DESC LIMIT 0 + $2
