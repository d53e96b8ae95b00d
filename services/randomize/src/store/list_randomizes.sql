SELECT id, original, jumbled, created, updated FROM randomizes
WHERE id < $1 ORDER BY id DESC LIMIT $2
