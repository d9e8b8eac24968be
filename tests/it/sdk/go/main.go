// Gosession is a working day of an application that uses the Go client of Vault (github.com/hashicorp/vault/api; the
// bao command of the other session carries OpenBao's).
//
//	VAULT_ADDR=URL gosession PLAN.json
//
// Plan and output: ../session.py. The client retries on its own (twice, on 412 and 5xx), as it does in applications.
//
// What this client depends on: PUT for writes with no Content-Type, GET with list=true, versions as strings in
// delete, undelete and destroy, `metadata` with created_time, deletion_time, destroyed and version beside every value,
// PATCH with application/merge-patch+json, a 404 whose body has data for a deleted version (which is no error here) and
// none for a missing one, `auth` with lease_duration and renewable for its lifetime watcher, and HTTP/2 as soon as TLS
// offers it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	vault "github.com/hashicorp/vault/api"
)

// Plan is what the test wants this session to do; session.py says what each key means.
type Plan struct {
	Token          string   `json:"token"`
	AppRole        *AppRole `json:"approle"`
	Namespace      string   `json:"namespace"`
	KV2Mount       string   `json:"kv2_mount"`
	KV1Mount       string   `json:"kv1_mount"`
	ReadonlyPrefix string   `json:"readonly_prefix"`
	WritablePrefix string   `json:"writable_prefix"`
	DeniedPath     string   `json:"denied_path"`
	UnknownMount   string   `json:"unknown_mount"`
	ExpectReadonly bool     `json:"expect_readonly"`
	ExpectWrap     bool     `json:"expect_wrap"`
	ChildPolicies  []string `json:"child_policies"`
	Skip           []string `json:"skip"`
}

// AppRole is a login.
type AppRole struct {
	RoleID   string `json:"role_id"`
	SecretID string `json:"secret_id"`
	Mount    string `json:"mount"`
}

// Step is one line of the record.
type Step struct {
	Step     string   `json:"step"`
	OK       bool     `json:"ok"`
	Status   *int     `json:"status"`
	Data     any      `json:"data"`
	Errors   []string `json:"errors"`
	Raised   *string  `json:"raised"`
	Expected bool     `json:"expected"`
}

// session holds the plan, the record so far and the status that the last answer had.
type session struct {
	ctx     context.Context
	address string
	plan    Plan
	steps   []Step
	status  int
}

func main() {
	s, err := newSession()
	if err != nil {
		fmt.Fprintf(os.Stderr, "usage: VAULT_ADDR=URL gosession PLAN.json (%v)\n", err)
		os.Exit(2)
	}
	s.run()
	os.Exit(s.finish())
}

func newSession() (*session, error) {
	s := &session{ctx: context.Background(), address: os.Getenv("VAULT_ADDR"), plan: Plan{}}
	if s.address == "" || len(os.Args) != 2 {
		return nil, errors.New("VAULT_ADDR and one argument are needed")
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &s.plan); err != nil {
		return nil, err
	}
	// Only what the plan says: the client would take these from the environment.
	os.Unsetenv("VAULT_TOKEN")
	os.Unsetenv("VAULT_NAMESPACE")
	return s, nil
}

func (s *session) run() {
	client := s.connect()
	s.server(client)
	s.reads(client)
	if s.plan.WritablePrefix != "" {
		s.writes(client)
		s.metadata(client)
	}
	if s.plan.KV1Mount != "" {
		s.kv1(client)
	}
	s.refusals(client)
	s.wrapping(client)
	s.tokens(client)
}

// newClient makes an unmodified client; its own callback notes the status, which a success does not carry.
func (s *session) newClient(token string) *vault.Client {
	config := vault.DefaultConfig()
	config.Address = s.address
	client, err := vault.NewClient(config)
	if err != nil {
		fmt.Fprintf(os.Stderr, "gosession: no client: %v\n", err)
		os.Exit(2)
	}
	client.SetToken(token)
	if s.plan.Namespace != "" {
		client.SetNamespace(s.plan.Namespace)
	}
	return client.WithResponseCallbacks(func(response *vault.Response) { s.status = response.StatusCode })
}

// step records one call; want lists the statuses that are expected. It answers whether the call succeeded.
func (s *session) step(name string, call func() (any, error), want ...int) bool {
	if slices.Contains(s.plan.Skip, name) {
		return false
	}
	s.status = 0
	data, err := call()
	record := Step{Step: name, OK: err == nil, Data: data, Errors: []string{}}
	if s.status != 0 {
		status := s.status
		record.Status = &status
	}
	if err != nil {
		record.Data = nil
		record.Errors, record.Raised = describe(err)
	}
	record.Expected = slices.Contains(want, s.status)
	s.steps = append(s.steps, record)
	return err == nil
}

// describe answers the texts that the client reports for an error, and the name of the error.
func describe(err error) ([]string, *string) {
	name := fmt.Sprintf("%T", err)
	texts := []string{err.Error()}
	var response *vault.ResponseError
	switch {
	case errors.As(err, &response):
		name = "ResponseError"
		texts = append([]string{}, response.Errors...)
	case errors.Is(err, vault.ErrSecretNotFound):
		name = "ErrSecretNotFound"
	}
	return texts, &name
}

// finish prints the record and answers the exit code.
func (s *session) finish() int {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(s.steps); err != nil {
		fmt.Fprintf(os.Stderr, "gosession: %v\n", err)
		return 2
	}
	code := 0
	for _, step := range s.steps {
		if !step.Expected {
			status := 0
			if step.Status != nil {
				status = *step.Status
			}
			fmt.Fprintf(os.Stderr, "%s: status %d, %q\n", step.Step, status, step.Errors)
			code = 1
		}
	}
	return code
}
