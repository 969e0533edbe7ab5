"""Making the default image (`homeport image build`): which archive has a Python (suites), and the doing (build)."""
