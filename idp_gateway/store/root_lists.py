"""The root's revocation list: made where the root's key is, given out by every gateway."""

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from idp_gateway.records import RootListRecord
from idp_gateway.store.base import StorePart, find_one, values_of
from idp_gateway.tables import table_of
from idp_gateway.tables_of_cas import RootList

ROOT_LISTS = table_of(RootList)


class RootListStore(StorePart):
    """Table ``root_lists``."""

    def root_list(self, root: str) -> RootListRecord | None:
        """The newest list of a root."""
        with self.database.reading() as connection:
            return find_one(connection, RootListRecord, ROOT_LISTS, ROOT_LISTS.c.root == root)

    def keep_root_list(self, record: RootListRecord) -> bool:
        """Put a list in the place of the one that its number follows; not if that is gone."""
        values = values_of(record)
        before = ROOT_LISTS.c.root == record.root, ROOT_LISTS.c.number == record.number - 1
        try:
            with self.database.writing() as connection:
                moved = connection.execute(update(ROOT_LISTS).where(*before).values(values))
                if moved.rowcount == 0 and record.number == 1:
                    connection.execute(insert(ROOT_LISTS).values(values))
                    return True
                return moved.rowcount == 1
        except IntegrityError:
            return False
