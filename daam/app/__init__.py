"""`daam ui`: a stand-alone page on the embedded model or any other, with the same viewer."""
