// Awssession is the Go SDK (aws-sdk-go-v2) at the calls of ../aws_steps.json.
//
//	awssession STEPS.json PLAN.json
//
// Plan, steps and output: ../aws_session.py. What this client depends on beyond boto3: error types by name, times as numbers,
// and that an answer that is no JSON is an error.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Plan is what the test wants this session to do.
type Plan struct {
	Region         string `json:"region"`
	Account        string `json:"account"`
	ReadonlyPrefix string `json:"readonly_prefix"`
	WritablePrefix string `json:"writable_prefix"`
	Denied         string `json:"denied"`
	IsProxied      bool   `json:"is_proxied"`
}

// Step is one entry of the list of steps.
type Step struct {
	Step     string `json:"step"`
	Call     string `json:"call"`
	In       any    `json:"in"`
	Want     any    `json:"want"`
	Text     string `json:"text"`
	As       string `json:"as"`
	Paginate bool   `json:"paginate"`
	Only     string `json:"only"`
}

// Record is one line of the record.
type Record struct {
	Step         string         `json:"step"`
	OK           bool           `json:"ok"`
	Status       *int           `json:"status"`
	Data         map[string]any `json:"data"`
	Code         *string        `json:"code"`
	Message      *string        `json:"message"`
	Raised       *string        `json:"raised"`
	Retries      *int           `json:"retries"`
	HasRequestID *bool          `json:"has_request_id"`
	Expected     bool           `json:"expected"`
}

type session struct {
	ctx      context.Context
	plan     Plan
	steps    []Step
	words    map[string]string
	returned map[string]map[string]any
	clients  map[string]*secretsmanager.Client
}

var reference = regexp.MustCompile(`\$\{([a-z_]+)(?:\.([A-Za-z]+))?\}`)

func main() {
	s, err := newSession()
	if err != nil {
		fmt.Fprintf(os.Stderr, "usage: awssession STEPS.json PLAN.json (%v)\n", err)
		os.Exit(2)
	}
	os.Exit(s.run())
}

func newSession() (*session, error) {
	if len(os.Args) != 3 {
		return nil, errors.New("two arguments are needed")
	}
	s := &session{ctx: context.Background(), returned: map[string]map[string]any{}}
	for at, into := range []any{&s.steps, &s.plan} {
		text, err := os.ReadFile(os.Args[at+1])
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, into); err != nil {
			return nil, err
		}
	}
	s.words = map[string]string{
		"app": s.plan.ReadonlyPrefix, "own": s.plan.WritablePrefix, "denied": s.plan.Denied, "region": s.plan.Region,
		"account": s.plan.Account, "token": tokenPrefix(s.plan.WritablePrefix),
	}
	cfg, err := config.LoadDefaultConfig(s.ctx)
	if err != nil {
		return nil, err
	}
	with := func(id, secret string) *secretsmanager.Client {
		return secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
		})
	}
	s.clients = map[string]*secretsmanager.Client{
		"":        secretsmanager.NewFromConfig(cfg),
		"unknown": with("AKIAUNKNOWNUNKNOWN00", "made-up-unknown"),
		"wrong":   with(os.Getenv("AWS_ACCESS_KEY_ID"), "made-up-wrong"),
	}
	return s, nil
}

func (s *session) run() int {
	records := []Record{}
	for _, step := range s.steps {
		if step.Only == "proxied" && !s.plan.IsProxied {
			continue
		}
		records = append(records, s.record(step))
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(records); err != nil {
		fmt.Fprintf(os.Stderr, "awssession: %v\n", err)
		return 2
	}
	code := 0
	for _, record := range records {
		if s.plan.IsProxied && !record.Expected {
			fmt.Fprintf(os.Stderr, "%s: code %s, %s\n", record.Step, aws.ToString(record.Code), aws.ToString(record.Message))
			code = 1
		}
	}
	return code
}

func (s *session) record(step Step) Record {
	record := Record{Step: step.Step}
	in, err := s.filled(step.In)
	var data map[string]any
	var about *middleware.Metadata
	if err == nil {
		data, about, err = s.call(step, in)
	}
	if err == nil {
		record.OK, record.Data = true, data
		s.returned[step.Step] = data
		record.note(about)
	} else {
		record.refused(err)
	}
	wants := wanted(step.Want)
	outcome := "ok"
	if !record.OK {
		outcome = aws.ToString(record.Code)
	}
	record.Expected = slices.Contains(wants, outcome) && (record.OK || step.Text == "" || step.Text == aws.ToString(record.Message))
	return record
}

// note keeps what the metadata of a success says of its request.
func (r *Record) note(about *middleware.Metadata) {
	if about == nil {
		return
	}
	if response, ok := awsmiddleware.GetRawResponse(*about).(*smithyhttp.Response); ok {
		r.Status = &response.StatusCode
	}
	_, known := awsmiddleware.GetRequestIDMetadata(*about)
	r.HasRequestID = &known
	if attempts, ok := retry.GetAttemptResults(*about); ok {
		retries := len(attempts.Results) - 1
		r.Retries = &retries
	}
}

func (r *Record) refused(err error) {
	text, raised := err.Error(), fmt.Sprintf("%T", err)
	var api smithy.APIError
	if errors.As(err, &api) {
		code := api.ErrorCode()
		text, r.Code = api.ErrorMessage(), &code
		raised = strings.TrimPrefix(strings.TrimPrefix(fmt.Sprintf("%T", api), "*types."), "*smithy.")
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		status := response.HTTPStatusCode()
		r.Status = &status
	}
	var with interface{ ServiceRequestID() string }
	if errors.As(err, &with) {
		known := with.ServiceRequestID() != ""
		r.HasRequestID = &known
	}
	r.Message, r.Raised = &text, &raised
}

// call runs one operation, whose parameters go in by their names as JSON.
func (s *session) call(step Step, in any) (map[string]any, *middleware.Metadata, error) {
	client := s.clients[step.As]
	method := reflect.ValueOf(client).MethodByName(step.Call)
	if !method.IsValid() {
		return nil, nil, fmt.Errorf("no operation %s", step.Call)
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, nil, err
	}
	input := reflect.New(method.Type().In(1).Elem())
	if err := json.Unmarshal(text, input.Interface()); err != nil {
		return nil, nil, err
	}
	if step.Paginate {
		return s.pages(client, input.Interface().(*secretsmanager.ListSecretsInput))
	}
	returned := method.Call([]reflect.Value{reflect.ValueOf(s.ctx), input})
	if err, _ := returned[1].Interface().(error); err != nil {
		return nil, nil, err
	}
	about := returned[0].Elem().FieldByName("ResultMetadata").Interface().(middleware.Metadata)
	data, err := plain(returned[0].Interface())
	return data, &about, err
}

func (s *session) pages(client *secretsmanager.Client, input *secretsmanager.ListSecretsInput) (map[string]any, *middleware.Metadata, error) {
	all := []any{}
	for pages := secretsmanager.NewListSecretsPaginator(client, input); pages.HasMorePages(); {
		page, err := pages.NextPage(s.ctx)
		if err != nil {
			return nil, nil, err
		}
		data, err := plain(page)
		if err != nil {
			return nil, nil, err
		}
		list, _ := data["SecretList"].([]any)
		all = append(all, list...)
	}
	return map[string]any{"SecretList": all}, nil, nil
}

// plain is what the SDK returns as JSON, without what was not returned.
func plain(value any) (map[string]any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var data map[string]any
	if err := json.Unmarshal(text, &data); err != nil {
		return nil, err
	}
	delete(data, "ResultMetadata")
	return prune(data).(map[string]any), nil
}

func prune(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, item := range value {
			if item == nil || item == "" && name != "Description" {
				delete(value, name)
			} else {
				value[name] = prune(item)
			}
		}
	case []any:
		for at, item := range value {
			value[at] = prune(item)
		}
	}
	return value
}

func (s *session) filled(value any) (any, error) {
	var missing error
	var fill func(any) any
	fill = func(value any) any {
		switch value := value.(type) {
		case map[string]any:
			out := map[string]any{}
			for name, item := range value {
				out[name] = fill(item)
			}
			return out
		case []any:
			out := []any{}
			for _, item := range value {
				out = append(out, fill(item))
			}
			return out
		case string:
			return reference.ReplaceAllStringFunc(value, func(found string) string {
				parts := reference.FindStringSubmatch(found)
				if parts[2] == "" {
					return s.words[parts[1]]
				}
				word, ok := s.returned[parts[1]][parts[2]].(string)
				if !ok {
					missing = fmt.Errorf("%s.%s was not returned", parts[1], parts[2])
				}
				return word
			})
		}
		return value
	}
	return fill(value), missing
}

func wanted(value any) []string {
	if one, ok := value.(string); ok {
		return []string{one}
	}
	all := []string{}
	for _, item := range value.([]any) {
		all = append(all, item.(string))
	}
	return all
}

func tokenPrefix(own string) string {
	digits := fmt.Sprintf("%x", sha256.Sum256([]byte(own)))
	return fmt.Sprintf("%s-%s-4%s-8%s", digits[:8], digits[8:12], digits[12:15], digits[15:18])
}
