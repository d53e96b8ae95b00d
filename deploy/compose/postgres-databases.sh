# shellcheck shell=sh
# Sourced by the image of PostgreSQL when its volume is empty: gives each service that needs one a
# user and a database, both as its URL has them.
for secret in randomize-database-url stakefish-database-url; do
    url=$(cat "/run/secrets/$secret")
    user=${url#*://}
    user=${user%%:*}
    password=${url#*://*:}
    password=${password%%@*}
    psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
        --set user="$user" --set password="$password" --set database="${url##*/}" <<'SQL'
CREATE ROLE :"user" LOGIN PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"user";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
done
