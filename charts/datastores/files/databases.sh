# Run once, when the volume is new, by the image's entry point.
for database in $DATABASES; do
    file=/etc/secrets/$(echo "$database" | tr '[:lower:]' '[:upper:]')_PASSWORD
    psql --set ON_ERROR_STOP=1 --set name="$database" --set file="$file" \
        --username postgres --dbname postgres <<'SQL'
\set password `cat :'file'`
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
done
