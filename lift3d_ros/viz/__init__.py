"""Pictures of results: boxes in camera pictures, a bird's-eye view, calibration checks and the report page."""
