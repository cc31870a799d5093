"""The field's metrics, through the field's own tools, and the file that holds their figures."""
