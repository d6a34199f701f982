"""What the root says of issuing CAs; as ``tables``, in whose manner it is written."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, LargeBinary
from sqlmodel import Field, SQLModel

from idp_gateway.tables import UtcTimestamp


class RootList(SQLModel, table=True):
    __tablename__ = "root_lists"
    root: str = Field(primary_key=True)
    number: int = Field(sa_column=Column(BigInteger, nullable=False))
    made_at: datetime = Field(sa_column=Column(UtcTimestamp, nullable=False))
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
