package main

import "github.com/vega-proxy/vega-proxy/internal/config"

// unbuilt is what the configuration knows and this build does not do yet. To set
// any of it is refused: no setting is silently ignored.
var unbuilt = []config.Unbuilt{}
