module github.com/vega-proxy/vega-proxy/bench

go 1.26.0
