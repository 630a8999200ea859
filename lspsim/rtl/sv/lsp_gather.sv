// Between the places that read X and the G banks of the activation buffer: bank b
// holds the tokens m with m mod G = b, and place g reads g tokens behind place 0,
// so that the places of one fold read different banks. The last rows of a fold are
// read together with the first ones of the next, which may lie in the same banks:
// a bank has two read ports, and folds take them in turn.
module lsp_gather #(
    parameter int R = 4,
    parameter int A = 8,
    parameter int G = 1,
    parameter int ROW = 16,
    parameter int UNIT = 16,
    parameter int XB = 1,     // bits of a bank's number
    parameter int PORTS = 1
) (
    input  logic                    clk,
    // places: address now, data in the next cycle
    input  logic [R-1:0]            lane,
    input  logic [G*ROW-1:0]        row,
    input  logic [G*XB-1:0]         bank,
    input  logic [G-1:0]            port,
    input  logic [G*UNIT-1:0]       unit,
    output logic [R*A-1:0]          data,
    // ports of the banks, likewise: port, then bank, then word
    output logic [PORTS*R-1:0]      x_lane,
    output logic [PORTS*G*ROW-1:0]  x_row,
    output logic [PORTS*G*UNIT-1:0] x_unit,
    input  logic [PORTS*R*A-1:0]    x_data
);
    if (G == 1) begin : g_wire
        logic unused;
        assign unused = &{clk, bank, port};
        assign x_lane = lane;
        assign x_row = row;
        assign x_unit = unit;
        assign data = x_data;
    end else begin : g_banks
        localparam int H = R / G;  // words of a bank
        for (genvar p = 0; p < PORTS; p++) begin : g_port
            for (genvar b = 0; b < G; b++) begin : g_bank
                logic [H-1:0] words;
                logic [ROW-1:0] its_row;
                logic [UNIT-1:0] its_unit;
                always_comb begin
                    words = '0;
                    its_row = '0;
                    its_unit = '0;
                    for (int g = 0; g < G; g++) begin
                        if (lane[g*H] && bank[g*XB+:XB] == XB'(b) && port[g] == (p == 1)) begin
                            words = words | lane[g*H+:H];
                            its_row = its_row | row[g*ROW+:ROW];
                            its_unit = its_unit | unit[g*UNIT+:UNIT];
                        end
                    end
                end
                assign x_lane[(p*G+b)*H+:H] = words;
                assign x_row[(p*G+b)*ROW+:ROW] = its_row;
                assign x_unit[(p*G+b)*UNIT+:UNIT] = its_unit;
            end
        end

        for (genvar g = 0; g < G; g++) begin : g_place
            logic [XB-1:0] bank_1;
            logic port_1;
            logic [H*A-1:0] word;
            always_ff @(posedge clk) begin
                bank_1 <= bank[g*XB+:XB];
                port_1 <= port[g];
            end
            always_comb begin
                word = x_data[0+:H*A];
                for (int i = 1; i < PORTS * G; i++) begin
                    if (bank_1 == XB'(i % G) && port_1 == (i >= G)) word = x_data[i*H*A+:H*A];
                end
            end
            assign data[g*H*A+:H*A] = word;
        end
    end
endmodule
