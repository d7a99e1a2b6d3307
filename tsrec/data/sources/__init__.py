"""Where raw data comes from. Each source names its files and yields batches in our own column names.

A batch of items has item_id, title and any of description, brand, categories; a batch of interactions has user_id,
item_id, timestamp and, where the data has them, rating and split. Values are still raw: cleaning comes after.
"""

from tsrec.data.sources import amazon, grouplens, movielens, recbole, tables

SOURCES: dict[str, tables.Source] = {
    "movielens-100k": movielens.SOURCE,
    "movielens": grouplens.SOURCE,
    "amazon": amazon.SOURCE,
    "recbole": recbole.SOURCE,
    "tables": tables.SOURCE,
}
