"""whose a file at a provider is that was copied there, or that a job or a batch made there"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("file_copies", sa.Column("team", sa.String(), nullable=True))
    op.execute("UPDATE file_copies SET team = (SELECT team FROM files WHERE files.id = file_copies.file_id)")
    op.create_index("file_copies_there", "file_copies", ["upstream_id"])


def downgrade() -> None:
    op.drop_index("file_copies_there", "file_copies")
    op.drop_column("file_copies", "team")
