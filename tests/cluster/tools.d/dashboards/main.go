// Command dashboards reads files of Grafana dashboards by the types of
// Grafana's foundation SDK, strictly. What a panel leaves out Grafana fills
// in, and so does this: options from the defaults of its kind, the data source
// of a query from its panel.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

type kind struct {
	config  variants.PanelcfgConfig
	options any
	custom  any
}

// The kinds of panels that are known here. One that is not would be read as
// anything at all.
var kinds = []kind{
	{bargauge.VariantConfig(), bargauge.NewOptions(), nil},
	{stat.VariantConfig(), stat.NewOptions(), nil},
	{statetimeline.VariantConfig(), statetimeline.NewOptions(), statetimeline.NewFieldConfig()},
	{table.VariantConfig(), table.NewOptions(), table.NewFieldConfig()},
	{timeseries.VariantConfig(), timeseries.NewOptions(), timeseries.NewFieldConfig()},
}

func main() {
	known := map[string]kind{}
	for _, kind := range kinds {
		known[kind.config.Identifier] = kind
		cog.NewRuntime().RegisterPanelcfgVariant(kind.config)
	}
	cog.NewRuntime().RegisterDataqueryVariant(prometheus.VariantConfig())
	failed := false
	for _, file := range os.Args[1:] {
		if err := check(file, known); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func check(file string, known map[string]kind) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	board := map[string]any{}
	if err := json.Unmarshal(text, &board); err != nil {
		return err
	}
	panels, _ := board["panels"].([]any)
	for _, each := range panels {
		panel, _ := each.(map[string]any)
		name, _ := panel["type"].(string)
		if name == "row" {
			continue
		}
		kind, found := known[name]
		if !found {
			return fmt.Errorf("panel %v: its type %q is not checked here", panel["title"], name)
		}
		if panel["options"], err = filled(panel["options"], kind.options); err != nil {
			return err
		}
		// By it the kind of a query is known.
		targets, _ := panel["targets"].([]any)
		for _, each := range targets {
			if target, _ := each.(map[string]any); target != nil && target["datasource"] == nil {
				target["datasource"] = panel["datasource"]
			}
		}
		config, _ := panel["fieldConfig"].(map[string]any)
		defaults, _ := config["defaults"].(map[string]any)
		if kind.custom != nil && defaults != nil {
			if defaults["custom"], err = filled(defaults["custom"], kind.custom); err != nil {
				return err
			}
		}
	}
	whole, err := json.Marshal(board)
	if err != nil {
		return err
	}
	read := dashboard.Dashboard{}
	// Of no errors it makes a list of none, which is not nil.
	err = read.UnmarshalJSONStrict(whole)
	if found := (cog.BuildErrors{}); err != nil && !(errors.As(err, &found) && len(found) == 0) {
		return err
	}
	return read.Validate()
}

// What is given, and of the defaults what is not.
func filled(given, defaults any) (any, error) {
	text, err := json.Marshal(defaults)
	if err != nil {
		return nil, err
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, err
	}
	return merged(given, lists(plain)), nil
}

// An empty list of Go is null as JSON, which the types refuse.
func lists(value any) any {
	fields, isMap := value.(map[string]any)
	if value == nil {
		return []any{}
	}
	if isMap {
		for name, inner := range fields {
			fields[name] = lists(inner)
		}
	}
	return value
}

func merged(given, defaults any) any {
	if given == nil {
		return defaults
	}
	fields, isMap := given.(map[string]any)
	more, wasMap := defaults.(map[string]any)
	if isMap && wasMap {
		for name, value := range more {
			fields[name] = merged(fields[name], value)
		}
	}
	return given
}
