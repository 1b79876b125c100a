"""Labels of whole images in tables, json, Parquet and the files of annotation tools."""
