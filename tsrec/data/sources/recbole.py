"""RecBole atomic files: tab-separated `.item` and `.inter` (`.train.inter` ... are given splits), headers like
`item_id:token`."""

from tsrec.columns import Columns as C
from tsrec.data.compressed_files import PACKED
from tsrec.data.sources.tables import EVENT_COLUMNS, table_source

SOURCE = table_source(
    item_files=[("*.item", *(f"*.item{packed}" for packed in PACKED))],
    event_files=[("*.inter", *(f"*.inter{packed}" for packed in PACKED))],
    item_columns={
        C.ITEM: (C.ITEM,),
        C.TITLE: ("title", "item_title", "movie_title", "item_name", "name"),
        C.DESCRIPTION: ("description",),
        C.BRAND: ("brand",),
        C.CATEGORIES: ("categories", "category", "class", "genre", "genres"),
    },
    event_columns=EVENT_COLUMNS,
)
