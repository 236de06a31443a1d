#!/usr/bin/env bash
# Postgres in a container. The first start makes the cluster; every start makes the databases that are missing and sets
# the passwords that the secrets hold. Roles log in over the network by SCRAM, and only to their own database.
set -euo pipefail
databases=(airflow mlflow)

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Into a folder beside it and renamed: an interrupted first start leaves nothing that looks like a cluster.
    rm -rf "$PGDATA.new"
    initdb --pgdata="$PGDATA.new" --username=postgres --auth-local=peer --auth-host=reject \
        --encoding=UTF8 --locale=C.UTF-8 --data-checksums >/dev/null
    mv "$PGDATA.new" "$PGDATA"
fi
{
    echo "local all postgres peer"
    for name in "${databases[@]}"; do echo "host $name $name all scram-sha-256"; done
} >"$PGDATA/pg_hba.conf"

# Reachable by its socket alone until everything is in place.
pg_ctl --pgdata="$PGDATA" --silent --wait --options="-c listen_addresses='' -k /run/postgresql" start
for name in "${databases[@]}"; do
    password=$(<"/run/secrets/${name}_database_password")
    # The words after :: are variables of psql, quoted by it.
    psql --quiet --no-psqlrc --host=/run/postgresql --set=ON_ERROR_STOP=1 \
        --set=name="$name" --set=password="$password" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'name')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
pg_ctl --pgdata="$PGDATA" --silent --wait --mode=fast stop

exec postgres -D "$PGDATA" -c listen_addresses='*' -k /run/postgresql \
    -c password_encryption=scram-sha-256 -c shared_buffers=64MB -c max_connections=60
