// Command argohealth asks a health check in Lua about objects as Argo CD does:
// by gopher-lua in the version that Argo CD 3 has, with what a check from
// argocd-cm is given there (util/lua/lua.go of Argo CD, without useOpenLibs).
// That is the base, package and table libraries, of os only time and date by
// require, neither string nor math nor io, and one second.
//
//	argohealth SCRIPT <OBJECTS
//
// Standard input is a list of objects in JSON; standard output the list of what
// is said of each: {"status": …, "message": …}, or {"error": …}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// What Argo CD takes for a status.
var statuses = []string{"Unknown", "Progressing", "Suspended", "Healthy", "Degraded", "Missing"}

const atMost = time.Second

// What is there without being asked for; package before base, which looks things up in it.
var libraries = []struct {
	name  string
	opens lua.LGFunction
}{
	{lua.LoadLibName, lua.OpenPackage},
	{lua.BaseLibName, lua.OpenBase},
	{lua.TabLibName, lua.OpenTable},
}

type answer struct {
	Status  string `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "argohealth:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: argohealth SCRIPT <OBJECTS")
	}
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var objects []map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return fmt.Errorf("standard input is no list of objects: %w", err)
	}
	answers := make([]answer, 0, len(objects))
	for _, object := range objects {
		said, err := ask(string(script), object)
		if err != nil {
			said = answer{Error: err.Error()}
		}
		answers = append(answers, said)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

// Each object is asked about in a state of its own, as in Argo CD.
func ask(script string, object map[string]any) (answer, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range libraries {
		if err := open(state, library.name, library.opens); err != nil {
			return answer{}, err
		}
	}
	if err := offerTimeAndDate(state); err != nil {
		return answer{}, err
	}
	limit, done := context.WithTimeout(context.Background(), atMost)
	defer done()
	state.SetContext(limit)
	state.SetGlobal("obj", valueOf(state, object))
	if err := state.DoString(script); err != nil {
		return answer{}, err
	}
	return answerOf(state.Get(-1))
}

func open(state *lua.LState, name string, library lua.LGFunction) error {
	call := lua.P{Fn: state.NewFunction(library), NRet: 0, Protect: true}
	return state.CallByParam(call, lua.LString(name))
}

// Of gopher-lua's os what Argo CD lets through, and only for a script that
// requires it: the whole is opened, and taken away again.
func offerTimeAndDate(state *lua.LState) error {
	if err := open(state, lua.OsLibName, lua.OpenOs); err != nil {
		return err
	}
	whole := state.GetGlobal(lua.OsLibName)
	some := state.NewTable()
	for _, name := range []string{"time", "date"} {
		some.RawSetString(name, state.GetField(whole, name))
	}
	state.SetGlobal(lua.OsLibName, lua.LNil)
	loaded := state.GetField(state.Get(lua.RegistryIndex), "_LOADED")
	state.SetField(loaded, lua.OsLibName, lua.LNil)
	state.PreloadModule(lua.OsLibName, func(state *lua.LState) int {
		state.Push(some)
		return 1
	})
	return nil
}

func valueOf(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		list := state.NewTable()
		for _, item := range value {
			list.Append(valueOf(state, item))
		}
		return list
	case map[string]any:
		table := state.NewTable()
		for name, item := range value {
			table.RawSetString(name, valueOf(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

func answerOf(returned lua.LValue) (answer, error) {
	table, isTable := returned.(*lua.LTable)
	if !isTable {
		return answer{}, fmt.Errorf("expected a table from the script, got %s", returned.Type())
	}
	status, isText := table.RawGetString("status").(lua.LString)
	if !isText || !slices.Contains(statuses, string(status)) {
		return answer{}, fmt.Errorf("%v is no status of Argo CD", table.RawGetString("status"))
	}
	message := table.RawGetString("message")
	if _, isText := message.(lua.LString); !isText && message != lua.LNil {
		return answer{}, fmt.Errorf("the message is a %s, no text", message.Type())
	}
	return answer{Status: string(status), Message: lua.LVAsString(message)}, nil
}
