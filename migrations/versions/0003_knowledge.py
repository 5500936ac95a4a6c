"""knowledge: collections, documents and chunks on PostgreSQL; SQLite keeps them in a file of their own"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Vectors are not here: their tables are made when the first embedder needs one, so that a server without pgvector
# migrates too. English stems without stop-words: which words are worth looking up is the gateway's own list.
# A chunk's words stay in its row: each match is counted in them, and most of a search went into fetching them.
STATEMENTS = """
CREATE TEXT SEARCH DICTIONARY knowledge_stems (TEMPLATE = snowball, LANGUAGE = porter);
CREATE TEXT SEARCH CONFIGURATION knowledge_words (PARSER = pg_catalog."default");
ALTER TEXT SEARCH CONFIGURATION knowledge_words
    ADD MAPPING FOR asciiword, word, hword, hword_part, asciihword, hword_asciipart WITH knowledge_stems;
ALTER TEXT SEARCH CONFIGURATION knowledge_words
    ADD MAPPING FOR numword, numhword, hword_numpart, int, uint, float, sfloat, version, host, file, email, url,
    url_path WITH simple;
CREATE TABLE knowledge_state (version bigint NOT NULL);
INSERT INTO knowledge_state VALUES (0);
CREATE TABLE knowledge_collections (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    version bigint NOT NULL DEFAULT 0,
    chunks bigint NOT NULL DEFAULT 0,
    words bigint NOT NULL DEFAULT 0,
    embedder text);
CREATE TABLE knowledge_sources (
    collection integer NOT NULL REFERENCES knowledge_collections,
    key text NOT NULL,
    cursor text,
    mark text,
    number bigint NOT NULL DEFAULT 0,
    is_census boolean NOT NULL DEFAULT false,
    synced_at double precision,
    PRIMARY KEY (collection, key));
CREATE TABLE knowledge_documents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection integer NOT NULL REFERENCES knowledge_collections,
    source text NOT NULL,
    name text NOT NULL,
    title text NOT NULL,
    url text,
    version text NOT NULL,
    chunker text NOT NULL,
    filename text NOT NULL,
    attributes jsonb NOT NULL,
    readers text[],
    named bigint NOT NULL,
    UNIQUE (collection, source, name));
CREATE INDEX knowledge_documents_restricted ON knowledge_documents (collection) WHERE readers IS NOT NULL;
CREATE TABLE knowledge_chunks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection integer NOT NULL,
    document bigint NOT NULL REFERENCES knowledge_documents ON DELETE CASCADE,
    ordinal integer NOT NULL,
    path text NOT NULL,
    text text NOT NULL,
    hash text NOT NULL,
    tokens integer NOT NULL,
    length integer NOT NULL,
    words tsvector NOT NULL)
    WITH (toast_tuple_target = 8160);
CREATE INDEX knowledge_chunks_document ON knowledge_chunks (document);
CREATE INDEX knowledge_chunks_collection ON knowledge_chunks (collection, id);
CREATE INDEX knowledge_chunks_words ON knowledge_chunks USING gin (words) WITH (gin_pending_list_limit = 256);
CREATE TABLE knowledge_embedders (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    dimension integer NOT NULL);
"""


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("the books are not made smaller; restore a backup from before the upgrade")
