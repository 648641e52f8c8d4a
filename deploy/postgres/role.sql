-- The role of KARMA's services: it owns its schema and nothing else. Run once by psql, as the superuser, in an empty
-- database; KARMA_DATABASE_PASSWORD is in psql's environment.
\set ON_ERROR_STOP on
\getenv password KARMA_DATABASE_PASSWORD

-- A statement that fails is written to the server's log; this one would have the password in it.
SET log_min_error_statement = panic;
CREATE ROLE karma LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
RESET log_min_error_statement;

-- By default everybody may connect to every database, and make temporary tables in it.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname) FROM pg_database WHERE datallowconn \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;

SELECT format('GRANT CONNECT ON DATABASE %I TO karma', current_database()) \gexec
CREATE SCHEMA karma AUTHORIZATION karma;
SELECT format('ALTER ROLE karma IN DATABASE %I SET search_path = karma', current_database()) \gexec
