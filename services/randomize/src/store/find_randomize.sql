SELECT id, original, jumbled, created, updated FROM randomizes WHERE id = $1
